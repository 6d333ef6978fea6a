-- As many groups as rows, filtered.
SELECT watchid, clientip, count(*) AS hits, sum(isrefresh), avg(resolutionwidth)
FROM hits
WHERE searchphrase <> ''
GROUP BY watchid, clientip
ORDER BY hits DESC, watchid, clientip
LIMIT 10;

-- As many groups as rows.
SELECT watchid, clientip, count(*) AS hits, sum(isrefresh), avg(resolutionwidth)
FROM hits
GROUP BY watchid, clientip
ORDER BY hits DESC, watchid, clientip
LIMIT 10;

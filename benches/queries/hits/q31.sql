-- Search engine and address.
SELECT searchengineid, clientip, count(*) AS hits, sum(isrefresh), avg(resolutionwidth)
FROM hits
WHERE searchphrase <> ''
GROUP BY searchengineid, clientip
ORDER BY hits DESC, searchengineid, clientip
LIMIT 10;

-- Several aggregates of each region.
SELECT regionid, sum(advengineid), count(*) AS hits, avg(resolutionwidth), count(DISTINCT userid)
FROM hits
GROUP BY regionid
ORDER BY hits DESC, regionid
LIMIT 10;

-- Views of one counter by minute.
SELECT date_trunc('minute', eventtime) AS minute, count(*) AS views
FROM hits
WHERE counterid = 62 AND eventdate >= DATE '2013-07-14' AND eventdate <= DATE '2013-07-15' AND isrefresh = 0 AND dontcounthits = 0
GROUP BY minute
ORDER BY minute
LIMIT 10 OFFSET 1000;

-- Pages of one counter in a month.
SELECT url, count(*) AS views
FROM hits
WHERE counterid = 62 AND eventdate >= DATE '2013-07-01' AND eventdate <= DATE '2013-07-31' AND dontcounthits = 0 AND isrefresh = 0
  AND url <> ''
GROUP BY url
ORDER BY views DESC, url
LIMIT 10;

-- Titles of one counter in a month.
SELECT title, count(*) AS views
FROM hits
WHERE counterid = 62 AND eventdate >= DATE '2013-07-01' AND eventdate <= DATE '2013-07-31' AND dontcounthits = 0 AND isrefresh = 0
  AND title <> ''
GROUP BY title
ORDER BY views DESC, title
LIMIT 10;

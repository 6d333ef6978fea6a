-- Two patterns, three aggregates.
SELECT searchphrase, min(url), min(title), count(*) AS hits, count(DISTINCT userid)
FROM hits
WHERE title LIKE '%Google%' AND url NOT LIKE '%.google.%' AND searchphrase <> ''
GROUP BY searchphrase
ORDER BY hits DESC, searchphrase
LIMIT 10;

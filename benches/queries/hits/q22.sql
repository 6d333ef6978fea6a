-- Phrases on such pages.
SELECT searchphrase, min(url), count(*) AS hits
FROM hits
WHERE url LIKE '%google%' AND searchphrase <> ''
GROUP BY searchphrase
ORDER BY hits DESC, searchphrase
LIMIT 10;

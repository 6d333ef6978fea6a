-- Most frequent search phrases.
SELECT searchphrase, count(*) AS hits
FROM hits
WHERE searchphrase <> ''
GROUP BY searchphrase
ORDER BY hits DESC, searchphrase
LIMIT 10;

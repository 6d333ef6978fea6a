-- Search engine and phrase.
SELECT searchengineid, searchphrase, count(*) AS hits
FROM hits
WHERE searchphrase <> ''
GROUP BY searchengineid, searchphrase
ORDER BY hits DESC, searchengineid, searchphrase
LIMIT 10;

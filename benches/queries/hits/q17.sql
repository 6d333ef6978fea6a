-- User and phrase, ordered.
SELECT userid, searchphrase, count(*) AS hits
FROM hits
GROUP BY userid, searchphrase
ORDER BY hits DESC, userid, searchphrase
LIMIT 10;

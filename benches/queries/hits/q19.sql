-- User, minute and phrase.
SELECT userid, extract(minute FROM eventtime) AS minute, searchphrase, count(*) AS hits
FROM hits
GROUP BY userid, minute, searchphrase
ORDER BY hits DESC, userid, minute, searchphrase
LIMIT 10;

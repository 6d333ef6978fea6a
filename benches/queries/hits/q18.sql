-- User and phrase, any ten groups.
-- unordered
SELECT userid, searchphrase, count(*) FROM hits GROUP BY userid, searchphrase LIMIT 10;

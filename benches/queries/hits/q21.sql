-- Addresses that name a word.
SELECT count(*) FROM hits WHERE url LIKE '%google%';

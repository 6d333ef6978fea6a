-- All columns of the first ten matches.
SELECT * FROM hits WHERE url LIKE '%google%' ORDER BY eventtime, watchid LIMIT 10;

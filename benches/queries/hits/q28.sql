-- Length of addresses by counter.
SELECT counterid, avg(length(url)) AS mean_length, count(*) AS hits
FROM hits
WHERE url <> ''
GROUP BY counterid
HAVING count(*) > 10000
ORDER BY mean_length DESC, counterid
LIMIT 25;

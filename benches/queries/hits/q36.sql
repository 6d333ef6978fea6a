-- Keys that depend on each other.
SELECT clientip, clientip - 1 AS b, clientip - 2 AS c, clientip - 3 AS d, count(*) AS hits
FROM hits
GROUP BY clientip, b, c, d
ORDER BY hits DESC, clientip
LIMIT 10;

-- Most active users.
SELECT userid, count(*) AS hits FROM hits GROUP BY userid ORDER BY hits DESC, userid LIMIT 10;

-- Hosts of referrers, by regular expression.
SELECT regexp_replace(referer, '^https?://(?:www\.)?([^/]+)/.*$', '\1') AS host, avg(length(referer)) AS mean_length, count(*) AS
  hits, min(referer)
FROM hits
WHERE referer <> ''
GROUP BY host
HAVING count(*) > 1000
ORDER BY mean_length DESC, host
LIMIT 25;

-- A small group-by behind a filter.
SELECT advengineid, count(*) AS hits FROM hits WHERE advengineid <> 0 GROUP BY advengineid ORDER BY hits DESC, advengineid;

-- Three aggregates in one pass.
SELECT sum(advengineid), count(*), avg(resolutionwidth) FROM hits;

-- Rows with an advertisement.
SELECT count(*) FROM hits WHERE advengineid <> 0;

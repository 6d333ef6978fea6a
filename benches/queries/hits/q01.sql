-- Rows of the table.
SELECT count(*) FROM hits;

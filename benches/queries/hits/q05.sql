-- Distinct users.
SELECT count(DISTINCT userid) FROM hits;

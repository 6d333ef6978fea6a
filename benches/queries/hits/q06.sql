-- Distinct search phrases.
SELECT count(DISTINCT searchphrase) FROM hits;

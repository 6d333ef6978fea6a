-- Distinct users of each phone model.
SELECT mobilephonemodel, count(DISTINCT userid) AS users
FROM hits
WHERE mobilephonemodel <> ''
GROUP BY mobilephonemodel
ORDER BY users DESC, mobilephonemodel
LIMIT 10;

-- The same by phone and model.
SELECT mobilephone, mobilephonemodel, count(DISTINCT userid) AS users
FROM hits
WHERE mobilephonemodel <> ''
GROUP BY mobilephone, mobilephonemodel
ORDER BY users DESC, mobilephone, mobilephonemodel
LIMIT 10;

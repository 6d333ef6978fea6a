-- Mean of a wide integer.
SELECT avg(userid) FROM hits;

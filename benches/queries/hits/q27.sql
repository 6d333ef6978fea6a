-- First phrases by time and text, with the time.
SELECT eventtime, searchphrase FROM hits WHERE searchphrase <> '' ORDER BY eventtime, searchphrase LIMIT 10;

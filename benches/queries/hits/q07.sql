-- First and last day.
SELECT min(eventdate), max(eventdate) FROM hits;

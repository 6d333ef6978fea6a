-- One user, not on the sort key's prefix.
SELECT userid FROM hits WHERE userid = 435090932899640449;

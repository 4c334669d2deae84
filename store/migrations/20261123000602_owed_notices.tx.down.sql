DROP TABLE owed_notices;

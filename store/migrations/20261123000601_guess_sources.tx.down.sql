DROP TABLE guess_sources;

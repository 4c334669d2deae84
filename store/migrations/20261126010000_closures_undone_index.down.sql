DROP INDEX IF EXISTS closures_undone_by_idx;

DROP INDEX IF EXISTS closures_former_idx;

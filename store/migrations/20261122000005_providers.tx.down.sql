DROP TABLE linked_providers;

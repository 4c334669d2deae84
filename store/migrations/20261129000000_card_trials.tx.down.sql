DROP TABLE card_trials;

DROP TABLE budgets, phone_attempts;

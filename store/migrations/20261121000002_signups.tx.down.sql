DROP TABLE challenges, signup_attempts;

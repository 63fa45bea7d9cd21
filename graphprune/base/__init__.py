"""What every room may use and knows nothing of models: extras, option texts, rules by operator, progress."""

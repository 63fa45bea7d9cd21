"""What every room may use: extras, option texts, JSON documents, rules by operator, progress."""

"""What the report's tables say beside their measurements."""

"""From a retailer's file to clean columns and rejected rows, free of Django."""

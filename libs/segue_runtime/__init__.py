"""What every service process of Segue shares."""

"""What the store keeps for each owner beside jobs and uploads: usage by day, and the bytes that are stored."""

"""What does it look like, and what would you change?"""

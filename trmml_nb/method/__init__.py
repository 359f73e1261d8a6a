"""How does a category find its region, and its missing labels?"""

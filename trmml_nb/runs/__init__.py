"""What is left when a training ends?"""

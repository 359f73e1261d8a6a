"""What does CLIP see, everywhere in the image, once?"""

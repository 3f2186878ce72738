//! Layers of images as file systems that are read only: cut to blocks once per layer, and put together per image.

"""Other programs' doors to equinet's models; each module needs its own optional package."""

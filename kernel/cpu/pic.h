/* The two 8259 interrupt controllers of a PC, where there are such. */
#pragma once

/* Masks every interrupt, for as long as the machine runs. */
void pic_mask_all(void);
